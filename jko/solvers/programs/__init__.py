"""Steps as linear and conic programs: independent references at small sizes."""
