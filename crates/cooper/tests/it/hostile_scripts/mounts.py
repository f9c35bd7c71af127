# mounts and roots
for what, number, args in (
    ("mount", 165, (0, 0, 0, 0, 0)), ("umount2", 166, (0, 0)), ("pivot_root", 155, (0, 0)), ("chroot", 161, (0,)),
    ("open_tree", 428, (-100, 0, 1)), ("move_mount", 429, (-1, 0, -1, 0, 4)), ("fsopen", 430, (0, 0)),
    ("fsconfig", 431, (-1, 0, 0, 0, 0)), ("fsmount", 432, (-1, 0, 0)), ("fspick", 433, (-100, 0, 0)),
    ("mount_setattr", 442, (-100, 0, 0, 0, 0)), ("open_by_handle_at", 304, (-1, 0, 0)), ("name_to_handle_at", 303, (-100, 0, 0, 0, 0)),
):
    refused(what, number, *args)
fails("chroot", os.chroot, "/tmp")
held()
