"""Pictures: mosaics, what phases show, maps over images, sheets, animations, and figures for print.

Numbers come from `pmsi.augment`, `pmsi.explain` and `pmsi.data`; here they become Pillow images and files.
"""
