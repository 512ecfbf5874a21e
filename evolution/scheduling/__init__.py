"""When cycles begin by themselves, and what people do to schedules."""
