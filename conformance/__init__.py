"""Black-box conformance: what the runtime specification asks for, asked of any runtime through its command line."""
