# The processes of a suite: sourced by tests/h2spec/run and tests/instructions/run, in the folder of the project. They end
# with the shell, and so does `work`, a folder for what they read and write.

signpost=${CARGO_TARGET_DIR:-target}/debug/signpost
work=$(mktemp -d)
processes=()
trap 'for process in ${processes[@]+"${processes[@]}"}; do kill "$process" || true; done; wait; rm -rf "$work"' EXIT

# start NAME COMMAND...: starts a process, which writes to $work/NAME; `process` is its id.
start() {
  local name=$1
  shift
  : >"$work/$name"
  "$@" >"$work/$name" 2>&1 &
  process=$!
  processes+=("$process")
}

# stop: ends the process that was started last, and waits for that.
stop() {
  kill "$process"
  wait "$process" || true
  unset 'processes[-1]'
}

# find_port NAME EXPRESSION: sets `port` to what the extended regular expression finds in the output of the process that
# was started last, as soon as it is there.
find_port() {
  until port=$(sed -nE "s/.*$2.*/\1/p" "$work/$1") && [ -n "$port" ]; do
    kill -0 "$process" 2>/dev/null || { cat "$work/$1" >&2; echo "$1 has ended" >&2; exit 1; }
    sleep 0.1
  done
}

# start_endpoint: starts a service that answers every request over HTTP/1; `port` is its port.
start_endpoint() {
  start endpoint "$signpost" demo world --listen 127.0.0.1:0
  find_port endpoint 'listening on 127\.0\.0\.1:([0-9]+)'
}

# start_router NAME COMMAND...: starts a router with the configuration in $work/NAME.yaml; `port` is that of its first
# listener.
start_router() {
  local name=$1
  shift
  start "$name" "$@" run "$work/$name.yaml"
  find_port "$name" 'serving router=.* address=127\.0\.0\.1:([0-9]+)'
}
