# a gigabyte in one process
kept = []
for _ in range(1024):
    kept.append(b"x" * (1 << 20))
