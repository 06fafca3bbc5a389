"""Market structure on closed bars: pivots, breaks, order blocks, premium and discount, equal levels, gaps, grabs.

One subject per file; ``engine`` runs them in their order inside a bar, ``readings`` holds what it says.
Written from a description of the public ideas in words and from test vectors.
"""
