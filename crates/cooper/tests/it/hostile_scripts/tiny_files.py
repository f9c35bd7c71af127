# a million files
count = 0
try:
    for count in range(1_000_000):
        os.close(os.open(f"/output/{count}", os.O_CREAT | os.O_WRONLY))
except OSError as error:
    check(f"{error}", error.errno == errno.ENOSPC)
check(f"{count} files", count <= 50_000)
held()
