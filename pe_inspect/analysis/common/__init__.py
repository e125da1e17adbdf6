"""What several questions share: numbers, selections, statistics of maps, how results show."""
