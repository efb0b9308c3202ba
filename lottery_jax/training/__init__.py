"""From a lane to a trained lane: losses, optimizers, one compiled loop, many lanes."""
