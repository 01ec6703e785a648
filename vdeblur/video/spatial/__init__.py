"""360° and 3D video: the projection of the picture and the arrangement of both eyes, as containers hold them."""
