#!/usr/bin/env bash
# Commit the results of `vignette retrain` to a branch of its own and open a pull request, or update the open one.
#
#     deploy/github/publish.sh BRANCH BASE
#
# The branch holds one commit on top of what is checked out, and nobody else's work: it is replaced each time. Needs git,
# and gh with a token (GH_TOKEN) that may write contents and pull requests. A pull request that the workflow's own token
# opens starts no other workflow: close and reopen it, or use an app's token.
set -euo pipefail
branch=$1 base=$2

git add --all -- dvc.lock sources.lock scores
if git diff --cached --quiet; then
  echo "Nothing has changed."
  exit 0
fi

title="Retraining of $(date --utc +%F)"
body=$(mktemp)
trap 'rm -f "$body"' EXIT
{
  echo "\`vignette retrain\` rebuilt what changed and scored it. After the merge, \`vignette promote <gate>\` puts a"
  echo "challenger in use."
  for page in scores/gates/*/gate.md; do
    if [ -e "$page" ]; then
      echo
      grep --invert-match --fixed-strings '![](' "$page" # pictures have no place in a pull request
    fi
  done
} | head --bytes 60000 > "$body"

git switch --quiet --force-create "$branch"
git -c user.name="${GIT_COMMITTER_NAME:-vignette}" -c user.email="${GIT_COMMITTER_EMAIL:-vignette@localhost}" \
  commit --quiet --message "$title"
git push --quiet --force origin "$branch"

number=$(gh pr list --head "$branch" --state open --json number --jq '.[0].number // empty')
if [ -n "$number" ]; then
  gh pr edit "$number" --title "$title" --body-file "$body"
else
  gh pr create --base "$base" --head "$branch" --title "$title" --body-file "$body"
fi
