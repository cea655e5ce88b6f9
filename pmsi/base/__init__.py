"""The ground floor: errors, seeds, atomic files, locks, numbers as text, statistics, the door to torchvision."""
