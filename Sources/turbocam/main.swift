print("turbocam")
