"""How rows are made: sources, pictures, chat client, stages, runner, shards, dataset."""
