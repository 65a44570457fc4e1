"""Pixels and lists: from label files and image folders to batches."""
