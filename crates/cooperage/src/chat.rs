//! Chat lines: `/docker_image_create name=… dependencies=… packages=…`.
