# die by a signal
ctypes.string_at(8)
