# leave traces where another could find them
import mmap
mark = b"".join([b"left", b"-by-", b"another-", b"owner"])
libc.prctl(15, mark[:15], 0, 0, 0)
for place in ("/tmp", "/work", "/dev/shm"):
    with open(f"{place}/{mark.decode()}", "wb") as file:
        file.write(mark * 4096)
os.environ["LEFT"] = mark.decode()
kept = mark * 65536
libc.shmget(0x6C656674, 65536, 0o1666)
libc.mq_open(b"/left", os.O_CREAT | os.O_RDWR, 0o666, 0)
server = socket.socket(socket.AF_UNIX)
server.bind(b"\0" + mark)
server.listen()
time.sleep(0.3)
held()
