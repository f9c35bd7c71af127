# open 100,000 files
kept = []
try:
    for _ in range(100_000):
        kept.append(os.open("/dev/null", os.O_RDONLY))
except OSError as error:
    count = len(kept)
    for number in kept:
        os.close(number)
    check(f"{error}", error.errno == errno.EMFILE)
    check(f"{count} files", count <= 64)
else:
    check("100,000 files are open", False)
import resource
try:
    resource.setrlimit(resource.RLIMIT_NOFILE, (1 << 20, 1 << 20))
    check("the limit is raised", False)
except (OSError, ValueError):
    pass
held()
