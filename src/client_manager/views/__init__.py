"""Models as rich renderables; pure."""
