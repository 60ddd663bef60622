-- The novelty model that was tuned on training.novelty_examples as they stand, and whether these hold rows of $user.
SELECT
    model.details ->> 'folder' AS folder,
    EXISTS(
        SELECT 1 FROM training.novelty_examples AS example
        WHERE example.user_id = $user
    ) AS holds_user
FROM registry.fingerprints AS model
INNER JOIN registry.fingerprints AS examples ON model.made_at >= examples.made_at
WHERE model.asset = 'novelty_model'
    AND examples.asset = 'training.novelty_examples'
    AND model.details ->> 'folder' IS NOT NULL
