"""What is kept on the disk between runs: checked folders, decoded images, unpacked archives."""
