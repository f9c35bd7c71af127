# a thread that goes on, and a function at exit that does not return
import atexit, threading
atexit.register(lambda: time.sleep(60))
threading.Thread(target=time.sleep, args=(60,)).start()
print("end", flush=True)
