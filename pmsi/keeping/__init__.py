"""What people do with runs once these are there: name them, find them, set them side by side, delete them. No torch.

labels     a name, tags and a note
listing    which runs to show, and in which order
comparing  what came of each, and where their settings differ
trash      deleting, with a way back
disk       how much a folder takes
"""
