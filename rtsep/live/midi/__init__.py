"""MIDI: `messages` reads bytes, `map` says what they are for, `ports` finds devices, `surface` puts
them together with a run's controls."""
