# 10 GB to standard output
block = b"x" * (1 << 16)
for _ in range(160_000):
    os.write(1, block)
