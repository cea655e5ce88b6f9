"""Pictures as Pillow images and files: mosaics, phases, maps over images, sheets, animations, figures for print."""
