"""What users test their imagefiles and drivers with."""
