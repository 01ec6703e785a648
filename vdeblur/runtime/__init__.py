"""Runtime: devices, threads, host memory, transfers and CUDA graphs; nothing here knows what a frame is for."""
