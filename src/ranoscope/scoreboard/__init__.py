"""Expert ratings and measured volumes → every rival and every measured-change model under one honest protocol."""
