# Sourced by the runners under tests/: processes that a test starts in a folder and ends by their ids.
# shellcheck shell=bash

# free_port [SPAN]: a port of 20000-32000, below which and up to SPAN above which nothing listens either. What is started
# at the same time as others is given FROM and TO of its own in PORTS.
free_port() {
    local port span=${1:-0} from=20000 to=32000
    [ -z "${PORTS:-}" ] || read -r from to <<<"$PORTS"
    for _ in $(seq 500); do
        port=$((from + RANDOM % (to - from - span)))
        if nobody_listens $((port - (span > 0 ? 2 : 0))) $((port + span)); then
            echo "$port"
            return
        fi
    done
    echo "found no free port between $from and $to" >&2
    return 1
}

nobody_listens() { # nobody_listens FROM TO
    local port
    for port in $(seq "$1" "$2"); do
        if listens "$port"; then return 1; fi
    done
}

listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# wait_until SECONDS WHAT COMMAND…
wait_until() {
    local end=$((SECONDS + $1))
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.2
    done
}

spawn() { # spawn PIDFILE LOG COMMAND…
    local pidfile=$1 log=$2
    shift 2
    setsid "$@" >>"$log" 2>&1 </dev/null &
    echo $! >"$pidfile"
    disown
}

gone() { # gone PID: it has ended, even if the machine's first process takes seconds to ask how
    kill -0 "$1" 2>/dev/null || return 0
    grep -qs '^State:.*zombie' "/proc/$1/status" && [ "$(find "/proc/$1/task" -mindepth 1 -maxdepth 1 2>/dev/null | wc -l)" -le 1 ]
}

signal() { # signal SIGNAL PIDFILE, and wait until the process is gone
    local pid
    [ -f "$2" ] || return 0
    pid=$(cat "$2")
    kill "-$1" "$pid" 2>/dev/null || true
    wait_until 20 "$pid" gone "$pid" || kill -KILL "$pid" 2>/dev/null || true
    rm -f "$2"
}
