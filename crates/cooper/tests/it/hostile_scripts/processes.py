# more processes than allowed
count = 0
try:
    for _ in range(1000):
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
        count += 1
except OSError as error:
    check(f"fork gave {error}", error.errno == errno.EAGAIN)
check(f"{count} processes", count < 32)
held()
