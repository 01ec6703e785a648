"""Changes in mid-stream: size, pixel format and colour that change, side data that begin late."""
