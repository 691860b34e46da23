"""The words of the grammar, by language; small and capital letters and accents do not matter.

Each entry is a list of words and phrases with commas between them.
"""
