"""What every other package uses: errors, seeds, atomic files, locks, text, statistics, torchvision's import."""
