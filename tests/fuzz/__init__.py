"""Anything at all, given to whatever reads files: only the documented error may come out."""
