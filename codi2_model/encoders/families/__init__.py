"""Published encoder families behind one interface: ImageBind (own implementation), CLIP, SigLIP and CLAP (transformers).

Each is one file with a `FAMILY`; adding a file registers it under its name. A family embeds several modalities into one space.
The canonical form of media is in [-1, 1]: image (N, 3, S, S), audio (N, 1, samples) at 16 kHz, video (N, 3, T, S, S). Each
family resizes, resamples and normalises them on their device.
"""
