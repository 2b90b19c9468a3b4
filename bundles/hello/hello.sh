echo "Hello from a container."
echo "  I am pid $$ on host $(hostname), Linux $(uname -r)."
echo "  I see $(ls -d /proc/[0-9]* | wc -l) processes, and my root is read-only: $(touch /x 2>&1)"
