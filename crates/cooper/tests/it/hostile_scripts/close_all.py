# close every descriptor, its own streams too, and leave
os.closerange(0, 4096)
os._exit(7)
