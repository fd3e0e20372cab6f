"""What a person sees: lines with marks, HTML for notebooks, the triangle, progress on stderr."""
