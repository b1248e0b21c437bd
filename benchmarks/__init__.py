"""What measures speed, memory and cost. No part of the tests: figures depend on the machine."""
