# compute for ever
while True:
    pass
