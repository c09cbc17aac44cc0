"""From the user's file to a plan; nothing here touches a machine, a provider or the network."""
