"""Image files scanned and decoded to uint8 arrays of one form."""
