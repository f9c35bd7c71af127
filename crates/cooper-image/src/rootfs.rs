//! Writes below a root directory that is given as a file descriptor.
