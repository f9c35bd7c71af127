# a gigabyte of JSON
try:
    with open(os.environ["COOPER_RESULT"], "wb", buffering=0) as file:
        file.write(b'"')
        for _ in range(1024):
            file.write(b"x" * (1 << 20))
        file.write(b'"')
except OSError as error:
    check(f"{error}", error.errno in (errno.ENOSPC, errno.EFBIG))
held()
