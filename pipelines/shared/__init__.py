"""What stages share: params, seeds, records, shards, layers, manifests, jobs."""
