"""The cache on the disk: results of image checks, decoded images, unpacked archives."""
