# What scripts/test and scripts/test-cluster share: how they read their arguments.

# Sets the arrays `suites` and `pytest_arguments`. An unknown suite or option ends the program with 2.
read_arguments() { # the suites there are (one string), then the program's arguments
  local known=$1
  shift
  suites=()
  pytest_arguments=()
  while [ $# -gt 0 ]; do
    case $1 in
    --) break ;;
    -h | --help) usage && exit 0 ;;
    -*) refuse "unknown option $1; what goes to pytest stands behind --" ;;
    *) [[ " $known " == *" $1 "* ]] || refuse "unknown suite $1; there are: $known" ;;
    esac
    [[ " ${suites[*]-} " == *" $1 "* ]] || suites+=("$1")
    shift
  done
  shift || true # the --
  pytest_arguments=("$@")
}

refuse() {
  echo "$(basename "$0"): $1" >&2
  exit 2
}
