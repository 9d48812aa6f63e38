"""What is true without a computer's database: events, machines, decay, buckets and arithmetic."""
