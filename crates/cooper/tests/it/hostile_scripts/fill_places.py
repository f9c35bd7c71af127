# fill every place that can be written to
for place in ("/tmp", "/work", "/dev/shm", "/output", os.path.dirname(os.environ["COOPER_RESULT"])):
    written = 0
    path = f"{place}/full"
    try:
        with open(path, "wb", buffering=0) as file:
            for _ in range(1024):
                written += file.write(b"x" * (1 << 20))
    except OSError as error:
        check(f"{place}: {error}", error.errno == errno.ENOSPC)
        os.remove(path)
    check(f"{written >> 20} MiB in {place}", written < 80 << 20)
for place in ("/", "/usr/lib", "/etc", "/var/tmp", "/run", "/dev", "/home", "/input"):
    fails(f"a file in {place}", open, f"{place}/hostile", "wb")
held()
