<?php
// Renders templates with Debian's php-twig: {"context": {...}, "templates": [...]} in, {"now": seconds, "answers": [...]} out.
// An answer is what is printed, or null where Twig or PHP refuses. All answers are of one second, so that `now` is known.
error_reporting(0);
require '/usr/share/php/Twig/autoload.php';
$asked = json_decode(file_get_contents('php://stdin'), true, 512, JSON_THROW_ON_ERROR);
$options = ['autoescape' => false, 'strict_variables' => false, 'cache' => false];
$twig = new \Twig\Environment(new \Twig\Loader\ArrayLoader([]), $options);
$templates = [];
foreach ($asked['templates'] as $code) {
    try {
        $templates[] = $twig->createTemplate($code);
    } catch (\Throwable $error) {
        $templates[] = null;
    }
}
do {
    $now = time();
    $answers = [];
    foreach ($templates as $template) {
        try {
            $answers[] = $template === null ? null : $template->render($asked['context']);
        } catch (\Throwable $error) {
            $answers[] = null;
        }
    }
} while (time() !== $now);
echo json_encode(['now' => $now, 'answers' => $answers], JSON_THROW_ON_ERROR | JSON_INVALID_UTF8_SUBSTITUTE);
